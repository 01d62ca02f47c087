"""When an earlier result may be reused: inputs, source code, and whose files a folder holds."""
