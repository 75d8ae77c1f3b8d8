def send(message: dict) -> None:
    print(f"to {message['to']}: {message['text']}", flush=True)
