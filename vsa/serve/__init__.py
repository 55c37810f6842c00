"""An engine over HTTP, on one machine: search, growing, health, metrics, and the page."""
