import pytest


@pytest.fixture(autouse=True)
def queue_folder(tmp_path, monkeypatch):
    from core.settings import settings

    monkeypatch.setattr(settings, "queue_folder", tmp_path)
    return tmp_path
