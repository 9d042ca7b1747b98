REVOKE {role} FROM {member} GRANTED BY {grantor} CASCADE
