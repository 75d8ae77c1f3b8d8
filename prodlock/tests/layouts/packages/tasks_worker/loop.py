import signal
import threading

from core.queue import Queue
from core.settings import settings
from tasks_worker.send import send


def run() -> None:
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    print("waiting for notices", flush=True)
    while not stopped.wait(settings.poll_seconds):
        for message in Queue(settings.queue_folder).take():
            send(message)
