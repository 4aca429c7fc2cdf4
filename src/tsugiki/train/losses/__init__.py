"""What gates are held to beside the task, one file for each."""
