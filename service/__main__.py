"""`python -m service` is `vitrine-service`."""

from vitrine.service.cli import main

main()
