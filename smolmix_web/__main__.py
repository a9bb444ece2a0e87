"""`python -m smolmix_web`."""

from .cli.main import main

raise SystemExit(main())
