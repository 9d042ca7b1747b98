REVOKE {role} FROM {member} CASCADE
