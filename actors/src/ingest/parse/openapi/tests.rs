use super::parse;
use crate::ingest::parse::{Document, ParseError, ParseLimits, Parsed, Piece, SkipReason};

const PETS: &str = r##"
openapi: 3.0.3
info:
  title: Pet Store
  version: 1.2.0
  description: |
    Manages pets.

    ## Limits
    60 requests a minute.
servers:
  - url: https://api.example/v1
security:
  - token: []
tags:
  - name: pets
    description: Everything about pets.
paths:
  /pets/{id}:
    parameters:
      - $ref: "#/components/parameters/Id"
    get:
      tags: [pets]
      operationId: getPet
      summary: Finds a pet.
      description: Looks it up *by id*.
      parameters:
        - { name: fields, in: query, required: true, schema: { type: array, items: { type: string } } }
      responses:
        "200":
          description: The pet.
          content:
            application/json: { schema: { $ref: "#/components/schemas/Pet" } }
        "404": { $ref: "#/components/responses/Missing" }
    put:
      tags: [pets]
      operationId: putPet
      deprecated: true
      requestBody:
        required: true
        content:
          application/json: { schema: { $ref: "#/components/schemas/Pet" } }
      responses: { "204": { description: Done. } }
  /health:
    get:
      summary: Tells whether it is up.
      security: []
      responses: { "200": { description: It is. } }
components:
  securitySchemes:
    token: { type: http, scheme: bearer, description: A token. }
  parameters:
    Id: { name: id, in: path, required: true, description: Which one., schema: { type: integer, format: int64 } }
  responses:
    Missing: { description: There is none. }
  schemas:
    Pet:
      description: An animal.
      allOf:
        - $ref: "#/components/schemas/Named"
        - type: object
          required: [name]
          properties:
            kind: { type: string, enum: [cat, dog], default: cat }
            owner: { $ref: "#/components/schemas/Owner" }
            friends: { type: array, items: { $ref: "#/components/schemas/Pet" } }
    Named: { type: object, properties: { name: { type: string, description: What it is called. } } }
    Owner: { type: object, properties: { email: { type: string, format: email }, born: { type: [string, "null"], format: date } } }
"##;

fn read(text: &str) -> Document {
    match parse("openapi.yaml", text, &ParseLimits::default()) {
        Ok(Parsed::Document(document)) => document,
        other => panic!("{other:?}"),
    }
}

fn section<'d>(document: &'d Document, heading: &str) -> Vec<&'d str> {
    let found = document.sections.iter().find(|section| section.heading == heading);
    found.unwrap_or_else(|| panic!("no `{heading}`")).pieces.iter().map(Piece::text).collect()
}

#[test]
fn each_operation_is_a_section_with_its_id_as_anchor() {
    let document = read(PETS);
    assert_eq!(document.title, "Pet Store");
    let sections: Vec<_> = document
        .sections
        .iter()
        .map(|section| (section.level, section.heading.as_str(), section.anchors.concat()))
        .collect();
    let expected = [
        (1, "Pet Store", ""),
        (2, "pets", ""),
        (3, "GET /pets/{id}", "getPet"),
        (3, "PUT /pets/{id}", "putPet"),
        (2, "GET /health", ""),
        (2, "Schemas", ""),
        (3, "Pet", ""),
        (3, "Named", ""),
        (3, "Owner", ""),
    ];
    assert_eq!(sections, expected.map(|(level, heading, anchor)| (level, heading, anchor.to_owned())));
    assert_eq!(
        section(&document, "Pet Store"),
        [
            "Version 1.2.0 of the API.",
            "Manages pets.",
            "### Limits",
            "60 requests a minute.",
            "Servers:\n- https://api.example/v1",
            "Authentication:\n- `token` (http, bearer): A token."
        ]
    );
}

#[test]
fn an_operation_says_what_it_takes_and_gives_and_how_to_call_it() {
    let document = read(PETS);
    assert_eq!(
        section(&document, "GET /pets/{id}"),
        [
            "Finds a pet.",
            "Looks it up by id.",
            "Parameters:\n- `fields` (query, array of string, required)\n- `id` (path, integer (int64), required): Which one.",
            "Responses:\n- `200` (Pet): The pet.\n  - `name` (string): What it is called.\n  \
             - `kind` (string, one of `cat`, `dog`, default `cat`)\n  - `owner` (Owner)\n    - `email` (string (email))\n    \
             - `born` (string or null (date))\n  - `friends` (array of Pet)\n    - `name` (string): What it is called.\n    \
             - `kind` (string, one of `cat`, `dog`, default `cat`)\n    - `owner` (Owner)\n    - `friends` (array of Pet)\n\
             - `404`: There is none.",
            "curl 'https://api.example/v1/pets/{id}?fields={fields}' \\\n  -H \"Authorization: Bearer $TOKEN\""
        ]
    );
    let put = section(&document, "PUT /pets/{id}");
    assert_eq!(put[0], "Deprecated.");
    assert!(put[2].starts_with("Request body (application/json, required): Pet\n- `name`"), "{put:?}");
    let request = put.last().unwrap();
    assert!(
        request.contains("curl -X PUT") && request.contains("\"email\": \"user@example.com\""),
        "{request}"
    );
    assert_eq!(section(&document, "GET /health").last(), Some(&"curl 'https://api.example/v1/health'"));
    let pet = section(&document, "Pet");
    assert_eq!(pet[0], "An animal.");
    assert!(pet[1].starts_with("`Pet` is Named and object:\n- `name`"), "{pet:?}");
}

#[test]
fn swagger_2_in_json_is_read_too() {
    let text = r##"{ "paths": { "/a": { "post": { "operationId": "makeA", "consumes": ["application/json"],
        "parameters": [ { "name": "body", "in": "body", "schema": { "$ref": "#/definitions/A" } },
                        { "name": "n", "in": "query", "type": "integer", "default": 3 } ],
        "responses": { "default": { "description": "ok", "schema": { "type": "array", "items": { "$ref": "#/definitions/A" } } } } } } },
        "definitions": { "A": { "type": "object", "properties": { "x": { "type": "number" } }, "example": { "x": 2.5 } } },
        "swagger": "2.0", "host": "old.example", "basePath": "/v1", "schemes": ["http"], "info": { "title": "Old" } }"##;
    let document = read(text);
    assert_eq!(
        section(&document, "POST /a"),
        [
            "Parameters:\n- `n` (query, integer, default `3`)",
            "Request body (application/json): A\n- `x` (number)",
            "Responses:\n- `default` (array of A): ok",
            "curl -X POST 'http://old.example/v1/a' \\\n  -H 'Content-Type: application/json' \\\n  -d '{\n  \"x\": 2.5\n}'"
        ]
    );
}

#[test]
fn other_yaml_and_json_are_no_documentation() {
    for text in ["a: 1\n", "openapi: [3]\n", "swagger: '9'\n", "{\"openapi\": true}", "openapi: 1.0.0\n"] {
        let parsed = parse("x.yaml", text, &ParseLimits::default());
        assert_eq!(parsed, Ok(Parsed::Skipped(SkipReason::UnknownFormat)), "{text}");
    }
}

#[test]
fn bombs_and_damage_are_refused_with_the_place() {
    let mut laughs = "openapi: 3.0.0\na0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let list = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    let long = "x".repeat(64 << 10);
    let long_laughs = format!("openapi: 3.0.0\na: &a \"{long}\"\nb: [{}]\n", vec!["*a"; 600].join(", "));
    // Each anchor around the text keeps a copy of it too.
    let long_nest = format!(
        "openapi: 3.0.0\na: {}\"{}\"{}\n",
        (0..60).map(|depth| format!("&n{depth} [")).collect::<String>(),
        long.repeat(10),
        "]".repeat(60)
    );
    let deep_block: String = (0..200).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    for (text, words) in [
        (laughs, "more than 500000 values"),
        (long_laughs, "aliases stand for more than 33554432 bytes of text"),
        (long_nest, "more than 33554432 bytes of text"),
        (format!("openapi: 3.0.0\na: {}", "[".repeat(100_000)), ""),
        (format!("{{\"openapi\": \"3.0.0\", \"a\": {}", "[".repeat(100_000)), "recursion limit"),
        (format!("openapi: 3.0.0\n{deep_block}"), "levels inside each other"),
        ("openapi: 3.0.0\na: &a [*a]\n".to_owned(), "alias"),
        ("openapi: 3.0.0\na: *nothing\n".to_owned(), ""),
        (
            format!("{{\"openapi\": \"3.0.0\", \"a\": [{}0]}}", "0,".repeat(600_000)),
            "more than 500000 values",
        ),
        ("{\"openapi\": \"3".to_owned(), "line 1"),
    ] {
        let error = parse("x", &text, &ParseLimits::default()).unwrap_err();
        let ParseError::Syntax { reason } = &error else { panic!("{error:?}") };
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn references_that_go_round_and_spread_stay_bounded() {
    let mut text = "openapi: 3.1.0\npaths: {}\ncomponents:\n  schemas:\n    Loop: { $ref: '#/components/schemas/Loop' }\n".to_owned();
    for at in 0..40 {
        let properties: Vec<String> =
            (0..40).map(|other| format!("p{other}: {{ $ref: '#/components/schemas/S{other}' }}")).collect();
        text.push_str(&format!("    S{at}: {{ properties: {{ {} }} }}\n", properties.join(", ")));
    }
    let document = read(&text);
    let length: usize = document.sections.iter().map(crate::ingest::parse::Section::len).sum();
    assert!(length < text.len() * 12, "{length} of {}", text.len());
}

#[test]
fn defaults_are_merged_below_what_is_said() {
    let text = "openapi: 3.0.0\nx: &base { get: { operationId: one, summary: Base., responses: {} } }\npaths:\n  /a:\n    <<: *base\n  /b:\n    <<: *base\n    \
                get: { operationId: two, responses: {} }\n";
    let document = read(text);
    let anchors: Vec<String> = document.sections.iter().map(|section| section.anchors.concat()).collect();
    assert_eq!(anchors, ["", "one", "two"]);
}
