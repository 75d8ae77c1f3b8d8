from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    API_V1_STR: str = "/api/v1"
    PROJECT_NAME: str = "tracker"
    DATABASE_URL: str = "sqlite:////tmp/tracker.db"
    FIRST_TICKET: int = 1


settings = Settings()
