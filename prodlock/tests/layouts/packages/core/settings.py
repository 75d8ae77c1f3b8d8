from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="NOTICES_", env_file=".env")

    title: str = "notices"
    queue_folder: Path = Path("/tmp/notices")
    database_url: str = "sqlite:////tmp/notices.db"
    poll_seconds: float = 0.5


settings = Settings()
