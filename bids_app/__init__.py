"""The BIDS App: command line, exit codes and messages. No science lives here."""
