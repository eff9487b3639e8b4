"""Billing without reading: evidence, tariffs, charges, settlement, invoices.

Everything here is pure: time and keys are arguments, functions return facts or bytes to sign.
Relay, business and auditor call the same functions. Money is integer micro-USD.
"""
