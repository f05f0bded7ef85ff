// Reads the answers of registries: is it one at all, which bytes are they, what does an error say. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proxy/http/message.h"
#include "proxy/upstream/fetcher.h"
#include "runtime/result.h"

namespace layerd::upstream {

// Everything of a FetchResponse that the head of a 200 or 206 tells; the body and the endpoint are
// the caller's. `name` is the place for the sentences. Errors: upstream_protocol (HTML, a content
// encoding, a range that was not asked for, a length or digest that contradicts).
Result<FetchResponse> read_answer(const FetchRequest& request, const http::ResponseHead& head,
                                  std::string_view name);

// Is a 404 the word of a registry, and not of some other web server? A storage that a registry led
// to (`is_elsewhere`) must show it; an endpoint itself may be silent, but not HTML.
bool is_registrys_own_404(const http::ResponseHead& head, std::string_view body, bool is_elsewhere);

// The 404 of an ingress that has no route to the host: Traefik's (and any Go server's) "404 page not
// found", ingress-nginx's "default backend - 404". To HEAD they answer with the length of it alone.
bool is_ingress_404(const http::ResponseHead& head, std::string_view body);
Error no_route(std::string_view name);

// The error a status other than 200 and 206 means. `place`: "https://ghcr.io for library/nginx".
Error status_error(const http::ResponseHead& head, std::string_view body, std::string_view place);

// "403 Forbidden: requested access to the resource is denied": the status and the message of an OCI
// error body, cut and made printable; a body that is something else, say HTML, is not quoted.
std::string status_and_words(int status, std::string_view body);

// A 400 by which a web server tells that it was spoken to in the wrong way: plain HTTP at the port of
// HTTPS (scheme_mismatch), or without the client certificate it wants (tls_client_certificate).
// place: "http://host:port".
std::optional<Error> wrong_transport(std::string_view place, int status, std::string_view body);

// A manifest never begins like this; a portal's or a proxy's page does.
bool looks_like_html(std::string_view first_bytes);
Error not_a_registry(std::string_view name, int status);

}  // namespace layerd::upstream
