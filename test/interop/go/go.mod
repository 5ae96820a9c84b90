module turnout.example/interop

go 1.24
