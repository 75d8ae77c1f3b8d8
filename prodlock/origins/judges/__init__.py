"""Judge the origins of an image's files by the rules: pure functions from records to findings."""
