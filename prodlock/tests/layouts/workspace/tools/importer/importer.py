from rich import print

print("[bold]imported[/bold]")
