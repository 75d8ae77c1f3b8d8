from tasks_worker.send import send


def test_send_prints_the_notice(capsys):
    send({"to": "ann", "text": "hello"})
    assert capsys.readouterr().out == "to ann: hello\n"
