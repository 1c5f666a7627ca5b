"""What the conformance suite does not say of `stores/`: real crashes, full disks, configuration."""
