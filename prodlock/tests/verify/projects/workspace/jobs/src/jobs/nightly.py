"""Import the prices of the day."""

import certifi

CERTIFICATES = certifi.where()
