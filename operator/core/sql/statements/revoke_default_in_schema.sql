ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} REVOKE {privilege} ON {kind} FROM {grantee} CASCADE
