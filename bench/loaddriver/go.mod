module conclave.internal/loaddriver

go 1.26
