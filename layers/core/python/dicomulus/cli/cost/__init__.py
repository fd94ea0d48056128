"""What a deployment costs a month: quantities of the ledger, times published prices."""
