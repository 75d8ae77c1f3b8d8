"""The proof: evidence, rules, report."""
