"""For examples of OpenHands that import `scripts.utils` from the root of a checkout."""
