"""An MCP server on its standard streams, for examples/mcp.yml."""

from mcp.server.mcpserver import MCPServer

server = MCPServer("stock")


@server.tool()
def in_stock(article: str) -> int:
    """How many of an article are there."""
    return {"lamp": 7}.get(article, 0)


if __name__ == "__main__":
    server.run()
