from tasks_worker.loop import run

run()
