"""``python -m kurir_audit``."""

from kurir_audit.cli import main

main()
