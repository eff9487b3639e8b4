"""What people and businesses run: store, engine, messenger, command line and bots."""
