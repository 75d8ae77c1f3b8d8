"""Read images into plain records; nothing is judged here."""
