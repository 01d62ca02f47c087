"""The report helpers of core, one concept a file. Plugins add theirs by the hook `tenyson_report_helpers`."""
