"""The devices of the emulated computers, one a module. Their time is the machine's clock."""
