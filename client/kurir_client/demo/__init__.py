"""The demo: a customer, a bus company's bot and a relay between them, and what each of them saw."""
