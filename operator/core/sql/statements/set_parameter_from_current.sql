ALTER ROLE {role} SET {parameter} FROM CURRENT
