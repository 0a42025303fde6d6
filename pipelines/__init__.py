"""Where rows come from and go to: lakes, runs, serving, the command line. All Ray lives here."""
