"""`siame bench real`: laws on photos that real cameras took. Each kind of folder is found by its files (`folders`)."""
