"""Tests about this repository: README, documentation, example and bench. All others need only the fixture service."""
