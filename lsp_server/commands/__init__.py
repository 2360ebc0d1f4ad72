"""What the commands of `features/execute_command.py` do, one file each."""
