"""Articles of a shop and their prices."""
