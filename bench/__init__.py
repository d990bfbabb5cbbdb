"""What time, memory and loss come to, measured by commands of their own. Nothing that trains or samples needs it."""
