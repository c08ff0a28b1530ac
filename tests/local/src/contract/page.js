SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#contract",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  docExpansion: "list",
  showExtensions: true,
  // It would send the contract to a validator of its authors.
  validatorUrl: null,
});
