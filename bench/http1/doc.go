// Package http1 is HTTP/1.1 (RFC 9112) without I/O: a server of fixed or file
// content and the client side of a load generator. Bytes come in as the stream
// delivers them, in pieces of any size, and bytes to send go out; there is no clock,
// socket, goroutine or lock inside, and nothing is allocated per request once warm.
//
// A Site is what is served: made once, immutable, shared by all workers. A Server
// serves a Site over streams of one worker; its methods are what the callbacks of a
// flow call. A connection between two requests costs no memory: a Conn is
// lent while a request or response is in flight. A Client has one request and reads
// responses to it, with an Exchange per connection.
//
// Messages are read strictly. What two implementations could frame differently
// (RFC 9112 section 11.2, request smuggling) is refused with a Reason of its own: bare
// CR or LF, folded lines, blanks before the colon, Content-Length that differs,
// is no number or comes with Transfer-Encoding.
package http1
