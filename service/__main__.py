"""`python -m service` is `vitrine-service`."""

from service.cli import main

main()
