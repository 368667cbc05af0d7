"""A LangGraph graph as an agent; a real one would ask a model in its nodes. See python.yml."""

from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph


def shout(state: MessagesState) -> dict[str, list[AIMessage]]:
    return {"messages": [AIMessage(str(state["messages"][-1].content).upper())]}


_builder = StateGraph(MessagesState)
_builder.add_node("shout", shout)
_builder.add_edge(START, "shout")
_builder.add_edge("shout", END)
graph = _builder.compile()
