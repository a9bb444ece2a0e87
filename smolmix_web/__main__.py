"""`python -m smolmix_web`."""

from .cli import main

raise SystemExit(main())
