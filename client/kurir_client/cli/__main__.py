"""``python -m kurir_client.cli``."""

from kurir_client.cli import main

main()
