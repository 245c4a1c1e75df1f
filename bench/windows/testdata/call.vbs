' Calls an address as old scripts do: cscript call.vbs PROGID URL
Dim http
Set http = CreateObject(WScript.Arguments(0))
http.Open "GET", WScript.Arguments(1), False
http.SetRequestHeader "Accept", "application/json"
http.Send
WScript.Echo http.Status & " " & http.ResponseText
