"""The import method `web-download`: fetch a URI once, into every store at once (architecture §6, import-behaviour §1)."""

