module github.com/tenloom/tenloom/sdk

go 1.24
