"""What the shop's programs share."""
