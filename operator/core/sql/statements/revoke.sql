REVOKE {privileges} ON {kind} {objects} FROM {grantee} CASCADE
