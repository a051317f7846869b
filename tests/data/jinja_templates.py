"""Templates of make_jinja_golden.py: in the styles of published model families (our own text), and
single constructs."""

FAMILIES = [
    # ChatML with tools: namespaces, tojson, JSON in tags
    """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- else %}
        {{- 'Be helpful.\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n\\nFunctions at hand:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n\\nAnswer with <tool_call>\\n{\\"name\\": <name>, \\"arguments\\": <object>}\\n</tool_call><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == "user" and not (message.content is string and message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + (message.content if message.content is string else message.content|map(attribute='text')|select('string')|join) + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content if message.content is string else '' %}
        {%- set reasoning = '' %}
        {%- if '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or reasoning) %}
            {{- '<|im_start|>assistant\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
                {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
                {{- '<tool_call>\\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}{{- tool_call.arguments }}{%- else %}{{- tool_call.arguments | tojson }}{%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' }}{{- message.content }}{{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
""",
    # header style with dates and tools
    """{{- bos_token }}
{%- if custom_tools is defined %}{% set tools = custom_tools %}{% endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "1 Jan 2020" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- The first system message is taken out of the list. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim if messages[0]['content'] is string else messages[0]['content'][0]['text']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first_user_message = messages[0]['content'] if messages[0]['content'] is string else messages[0]['content']|string %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("Cannot put tools in the first user message when there's no first user message!") }}
    {%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {{- "Use these functions.\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<|eot_id|>"}}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {%- if message['content'] is string %}{{- message['content'] | trim }}{%- else %}
        {%- for content in message['content'] %}
            {%- if content['type'] == 'image' %}{{- '<|image|>' }}{%- elif content['type'] == 'text' %}{{- content['text'] | trim }}{%- endif %}
        {%- endfor %}{%- endif %}
        {{- '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    # [INST] style: strict alternation, system text in the last user turn, tool ids
    """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token }}
    {%- elif message["role"] == "tool" %}
        {{- '[TOOL_RESULTS] {"content": ' + message.content|string + ", " }}
        {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported!") }}
    {%- endif %}
{%- endfor %}
""",
    # turns with renamed roles
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}",
    # turns with the system text before the first user text, parts
    """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\\n\\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\\n'}}
{%- endif -%}
""",
    # short role tags
    "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}",
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    # many namespaces, thinking cut off
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<|User|>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is none %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls']%}{%- if not ns.is_first %}{{'<|Assistant|><|calls_begin|>' + tool['type'] + '<|sep|>' + tool['function']['name'] + '\\n' + '```json' + '\\n' + tool['function']['arguments'] + '\\n' + '```'}}{%- set ns.is_first = true -%}{%- endif %}{%- endfor %}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{%- if ns.is_tool %}{{'<|outputs_end|>' + message['content'] + '<|end|>'}}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<|Assistant|>' + content + '<|end|>'}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{'<|outputs_begin|>' + message['content']}}{%- set ns.is_output_first = false %}{%- else %}{{'\\n' + message['content']}}{%- endif %}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'<|outputs_end|>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<|Assistant|>'}}{% endif %}",
    # tools as Python signatures: recursive macros, dict methods, joins, documents
    """{{ bos_token }}
{%- macro json_to_python_type(json_spec) %}
{%- set basic_type_map = {
    "string": "str",
    "number": "float",
    "integer": "int",
    "boolean": "bool"
} %}
{%- if json_spec.type is not defined %}
    {{- "Any" }}
{%- elif basic_type_map[json_spec.type] is defined %}
    {{- basic_type_map[json_spec.type] }}
{%- elif json_spec.type == "array" %}
    {{- "List[" + json_to_python_type(json_spec['items']) + "]"}}
{%- elif json_spec.type == "object" %}
    {{- "Dict[str, " ~ (json_to_python_type(json_spec.additionalProperties) if json_spec.additionalProperties else 'Any') ~ ']' }}
{%- elif json_spec.type is iterable %}
    {{- "Union[" }}
    {%- for t in json_spec.type %}
      {{- json_to_python_type({"type": t}) }}
      {%- if not loop.last %}
        {{- "," }}
    {%- endif %}
    {%- endfor %}
    {{- "]" }}
{%- else %}
    {{- "Any" }}
{%- endif %}
{%- endmacro %}
{%- for tool in tools or [] %}
{%- set fn = tool.function %}
{{ "def " + fn.name + "(" }}
{%- for name, p in fn.parameters.properties.items() %}
  {%- if not loop.first %}{{ ", " }}{% endif %}
  {{- name + ": " + json_to_python_type(p) }}
  {%- if name not in fn.parameters.required | default([]) %} = None{% endif %}
{%- endfor %}):
{% if fn.description|trim %}    \"\"\"{{ fn.description }}\"\"\"
{% endif %}
{%- endfor %}
{%- for doc in documents or [] %}
Document: {{ loop.index0 }}
{% for key, value in doc.items() %}
{{ key|capitalize }}: {{ value|string|indent(2) }}
{% endfor %}
{%- endfor %}
{%- for message in messages %}
  {%- set c = message.content if message.content is string else message.content|selectattr('type', 'eq', 'text')|map(attribute='text')|join(' ') %}
  {{- '<|' ~ message.role|upper ~ '_TOKEN|>' ~ c ~ '<|END|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|CHATBOT_TOKEN|>' }}{% endif %}""",
    # generation blocks, modes from the system text, dates
    """{# defaults #}
{%- if enable_thinking is not defined -%}
{%- set enable_thinking = true -%}
{%- endif -%}
{%- if enable_thinking -%}{%- set reasoning_mode = "/think" -%}{%- else -%}{%- set reasoning_mode = "/no_think" -%}{%- endif -%}
{{- "<|im_start|>system\n" -}}
{%- if messages[0].role == "system" -%}
  {%- set system_message = messages[0].content if messages[0].content is string else "" -%}
  {%- if "/no_think" in system_message -%}{%- set reasoning_mode = "/no_think" -%}{%- endif -%}
  {%- set custom_instructions = system_message.replace("/no_think", "").replace("/think", "").rstrip() -%}
{%- endif -%}
{%- set today = strftime_now("%d %B %Y") -%}
{{- "Today Date: " ~ today ~ "\n" -}}
{{- "Reasoning Mode: " + reasoning_mode + "\n\n" -}}
{%- if custom_instructions -%}{{- custom_instructions + "\n\n" -}}{%- endif -%}
{%- if tools -%}
  {{- "### Tools\n\n" -}}
  {%- set ns = namespace(xml="Functions:\n<tools>\n") -%}
  {%- for tool in tools[:] -%}{%- set ns.xml = ns.xml ~ (tool | string) ~ "\n" -%}{%- endfor -%}
  {{- ns.xml + "</tools>\n" -}}
{%- endif -%}
{{- "<|im_end|>\n" -}}
{%- for message in messages -%}
    {%- if message.content is string -%}
        {%- set content = message.content -%}
    {%- else -%}
        {%- set content = "" -%}
        {%- for part in message.content -%}{%- if part.type == "text" -%}{{- part.text -}}{%- endif -%}{%- endfor -%}
    {%- endif -%}
    {%- if message.role == "user" -%}
        {{ "<|im_start|>" + message.role + "\n"  + content + "<|im_end|>\n" }}
    {%- elif message.role == "assistant" -%}
        {% generation %}
        {%- if reasoning_mode == "/think" -%}
            {{ "<|im_start|>assistant\n" + content.lstrip("\n") + "<|im_end|>\n" }}
        {%- else -%}
            {{ "<|im_start|>assistant\n" + "<think>\n\n</think>\n" + content.lstrip("\n") + "<|im_end|>\n" }}
        {%- endif -%}
        {% endgeneration %}
    {%- elif message.role == "tool" -%}
        {{ "<|im_start|>" + "user\n"  + content + "<|im_end|>\n" }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {%- if reasoning_mode == "/think" -%}{{ "<|im_start|>assistant\n" }}{%- else -%}{{ "<|im_start|>assistant\n" + "<think>\n\n</think>\n"  }}{%- endif -%}
{%- endif -%}
""",
    # pictures: capitalised roles and end of utterance
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
    "{% for message in messages %}{{message['role'].capitalize()}}{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
    # pictures first, then text
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}{# all pictures first #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}{# text after them #}{% if message['role'] != 'assistant' %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}{% endfor %}{% else %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",
    # pictures counted
    "{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}{% set image_count.value = image_count.value + 1 %}{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}<|vision_start|><|image_pad|><|vision_end|>{% elif content['type'] == 'video' or 'video' in content %}{% set video_count.value = video_count.value + 1 %}{% if add_vision_id %}Video {{ video_count.value }}: {% endif %}<|vision_start|><|video_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    # prefix and suffix
    "{{ bos_token }}{% for m in messages %}{% if m.content is not string %}{% for p in m.content %}{{ '<image>' * 3 if p.type == 'image' else p.text.strip() }}{{ ' ' if not loop.last }}{% endfor %}{% else %}{{ m.content }}{% endif %}{{ '\\n' if m.role == 'user' else eos_token }}{% endfor %}",
]

SNIPPETS = [
    # output of values
    "{{ yes }} {{ no }} {{ nil }} {{ n }} {{ f }} {{ big }} {{ small }} {{ missing }}|{{ l }} {{ d }} {{ rows }} {{ (1,) }} {{ (1, 'a') }} {{ () }}",
    "{{ 1.0 }} {{ 1e16 }} {{ 1e15 }} {{ 0.1 + 0.2 }} {{ 1/3 }} {{ 5e-324 }} {{ 1.5e300 * 1e10 }} {{ 123456789.0 }} {{ -0.0 }} {{ 1e22 }} {{ 0.0001 }} {{ 0.00001 }}",
    "{{ [quote, 'a\\nb', 'é', '\\x00', '\u200b', '\\\\', \"'\"] }}",
    "{{ 'a' 'b' \"c\" }} {{ '\\u00e9\\x41\\101\\t|\\d' }} {{ \"\\\"\" }}",
    "{{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1_000 }} {{ 1_0.5_0 }} {{ 00 }}",
    "{{ d.items() }} {{ d.keys() }} {{ d.values() }} {{ range(3) }} {{ range(1, 9, 3) }}",
    "{{ namespace(a=1, b='x') }}",
    # arithmetic and comparison
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 7 / 2 }} {{ 4 / 2 }}",
    "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 == true }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 1 in l }} {{ 9 not in l }} {{ 'b' in d }} {{ 'lo' in s }}",
    "{{ not 1 == 2 }} {{ not 1 and 0 }} {{ 1 or 0 and 0 }} {{ '' or 'x' }} {{ 0 and 1 }} {{ [] or {} }}",
    "{{ 'a' ~ 1 ~ none ~ true ~ [1] ~ 2.0 }} {{ 'ab' * 3 }} {{ [0] * 2 }} {{ 3 * 'x' }} {{ 'a' * -1 }}|",
    "{{ 1 if yes else 2 }} {{ 1 if no else 2 }} {{ 1 if no }}| {{ 'a' if no else 'b' if no else 'c' }}",
    "{{ 'a' + 1 }}", "{{ 1 + 'a' }}", "{{ none + 1 }}", "{{ l + (1,) }}", "{{ d + d }}", "{{ 1 / 0 }}", "{{ 1 % 0 }}", "{{ missing + 1 }}", "{{ missing.x }}", "{{ missing['x'] }}", "{{ missing() }}", "{{ -missing }}", "{{ missing < 1 }}", "{{ missing == missing }} {{ missing == none }} {{ missing in [1] }} {{ 1 in missing }}",
    "{{ 1 < 'a' }}", "{{ none < 1 }}", "{{ {} < {} }}", "{{ 1 in 5 }}", "{{ 1 in 'abc' }}",
    # attributes, items, slices
    "{{ d.a }} {{ d['a'] }} {{ d.x }}| {{ d['x'] }}| {{ l[0] }} {{ l[-1] }} {{ l[9] }}| {{ s[0] }} {{ u[-1] }} {{ l.0 }} {{ rows[0].t.k }} {{ rows[1].t.k }}",
    "{{ d.items }}" if False else "{{ d.items is callable }} {{ d['keys'] is callable }} {{ l['append'] }}|{{ d.update is defined }} {{ s.upper is callable }} {{ s.__class__ }}|",
    "{{ l.append(1) }}", "{{ d.update({}) }}", "{{ d.pop('a') }}", "{{ s.__class__.__mro__ }}", "{{ l.sort() }}",
    "{{ l[1:] }} {{ l[:-1] }} {{ l[::-1] }} {{ l[::2] }} {{ s[2:5] }} {{ s[::-1] }} {{ u[-4:] }} {{ l[5:] }} {{ l[-9:2] }} {{ (1, 2, 3)[1:] }} {{ s[:] }}",
    "{{ l[::0] }}", "{{ n[0] }}|{{ none[0] }}|{{ n[1:2] }}|{{ d[1:2] }}|{{ l['a'] }}|{{ s.x }}|{{ n.x }}|",
    "{{ nest[1][1][0] }} {{ nest[1, 0] }}|",
    # strings
    "{{ s.upper() }} {{ s.lower() }} {{ u.upper() }} {{ u.lower() }} {{ u.title() }} {{ u.capitalize() }} {{ u|title }} {{ u|capitalize }} {{ 'they\\'re bill\\'s'.title() }} {{ 'a-b (c [d'|title }}",
    "{{ w.strip() }}|{{ w.lstrip() }}|{{ w.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'abcba'.lstrip('ab') }}|{{ '\u3000a\u00a0'.strip() }}|",
    "{{ w.split() }} {{ s.split(', ') }} {{ 'a,b,,c'.split(',') }} {{ 'a,b,,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ ' a b  c '.split(None, 1) }} {{ ''.split() }} {{ ''.split(',') }} {{ 'a b'.split(maxsplit=1, sep=' ') }}",
    "{{ s.startswith('He') }} {{ s.endswith(('x', 'ld')) }} {{ s.startswith('l', 2) }} {{ s.find('o') }} {{ s.find('o', 5) }} {{ s.rfind('o') }} {{ s.find('zz') }} {{ s.count('l') }} {{ s.index('W') }} {{ s.count('') }}",
    "{{ s.index('zz') }}", "{{ s.split('') }}", "{{ s.startswith(1) }}", "{{ s.join([1]) }}", "{{ s.nope() }}",
    "{{ s.replace('l', 'L') }} {{ s.replace('l', 'L', 1) }} {{ 'abc'.replace('', '-') }} {{ 'abc'.replace('', '-', 2) }} {{ ', '.join(ls) }} {{ '-'.join('abc') }}",
    "{{ 'a'.center(5) }}|{{ 'ab'.center(5, '*') }}|{{ 'a'.ljust(3) }}|{{ 'a'.rjust(3, '.') }}|{{ '-5'.zfill(4) }}|{{ 'a.b.c'.partition('.') }} {{ 'a.b.c'.rpartition('.') }} {{ 'abc'.partition('x') }}",
    "{{ '12'.isdigit() }} {{ 'a1'.isalnum() }} {{ ''.isalpha() }} {{ 'Ab'.istitle() }} {{ 'AB'.isupper() }} {{ ' '.isspace() }} {{ '²'.isdigit() }} {{ '²'.isdecimal() }} {{ '½'.isnumeric() }}",
    "{{ text.splitlines() }} {{ 'a\\r\\nb\\x0bc'.splitlines(true) }} {{ 'abc'.removeprefix('a').removesuffix('c') }} {{ 'aBc'.swapcase() }}",
    "{{ '{} {}'.format(1, 'x') }} {{ '{1} {0}'.format(1, 2) }} {{ '{a} {b[0]} {c.x}'.format(a=1, b=[2], c={'x': 3}) }} {{ '{{}} {:>5}|{:<5}|{:^5}|{:05d}|{:.2f}|{:,}|{!r}|{:+d}|{:x}|{:%}'.format('a', 'b', 'c', 42, 3.14159, 1234567, 'q', 5, 255, 0.25) }}",
    "{{ '%s %d %05.2f %x %r %%' % ('a', 3, 2.5, 255, 'q') }} {{ '%(a)s-%(b)03d' % {'a': 1, 'b': 2} }} {{ '%s' % none }} {{ '%s' % l }} {{ '%5s|%-5s|%+d' % ('a', 'b', 3) }}",
    "{{ '%s %s' % ('a',) }}", "{{ '%s' % ('a', 'b') }}", "{{ '%d' % 'a' }}", "{{ '{}'.format() }}", "{{ '{a}'.format(b=1) }}", "{{ '{'.format() }}",
    # filters
    "{{ w|trim }}|{{ 'xax'|trim('x') }}|{{ s|length }} {{ l|length }} {{ d|length }} {{ u|length }} {{ missing|length }} {{ l|count }}",
    "{{ n|length }}", "{{ none|length }}", "{{ s|nope }}", "{% if no %}{{ s|nope }}{% endif %}ok", "{{ s is nope }}",
    "{{ d|tojson }} {{ rows|tojson(indent=2) }} {{ u|tojson }} {{ u|tojson(ensure_ascii=true) }} {{ html|tojson }} {{ big|tojson }} {{ [1.0, 1e-7, true, none]|tojson }} {{ de|tojson(indent=1) }} {{ {1: 2, 2.5: 3, none: 4, true: 5}|tojson }} {{ '\\x7f\\x01\\u2028/'|tojson }}",
    "{{ d|tojson(separators=(',', ':')) }} {{ {'b': 1, 'a': 2}|tojson(sort_keys=true) }} {{ (1, 2)|tojson }} {{ rows|tojson(indent='\\t') }} {{ d|tojson(2) }}",
    "{{ missing|tojson }}", "{{ range(3)|tojson }}", "{{ {(1, 2): 3}|tojson }}", "{{ namespace(a=1)|tojson }}", "{{ d.items()|tojson }}",
    "{{ ls|join }} {{ ls|join(', ') }} {{ rows|join(', ', attribute='name') }} {{ l|join('-') }} {{ d|join('/') }} {{ none|default('x')|join('.') }} {{ mixed|join(';') }}",
    "{{ missing|default('x') }} {{ none|default('x') }} {{ none|default('x', true) }} {{ ''|default('x', boolean=true) }} {{ missing|d }}|{{ 0|default(5, true) }}",
    "{{ ls|sort }} {{ ls|sort(case_sensitive=true) }} {{ l|sort(reverse=true) }} {{ rows|sort(attribute='v')|map(attribute='v')|list }} {{ rows|sort(attribute='name,v')|map(attribute='v')|list }} {{ mixed[:1]|sort }}",
    "{{ mixed|sort }}", "{{ ls|unique|list }} {{ ['A', 'a', 'b']|unique|list }} {{ ['A', 'a']|unique(case_sensitive=true)|list }} {{ rows|unique(attribute='name')|map(attribute='v')|list }} {{ mixed|unique|list }}",
    "{{ l|first }} {{ l|last }} {{ le|first }}| {{ le|last }}| {{ s|first }} {{ s|last }} {{ d|first }} {{ l|min }} {{ l|max }} {{ ls|max }} {{ le|min }}| {{ rows|max(attribute='v') }}",
    "{{ l|reverse|list }} {{ s|reverse }} {{ d|dictsort }} {{ d|items|list }} {{ {'b': 1, 'A': 2}|dictsort(true) }} {{ {'b': 1, 'A': 2}|dictsort(by='value', reverse=true) }}",
    "{{ rows|selectattr('t')|list|length }} {{ rows|selectattr('t', 'defined')|map(attribute='v')|join }} {{ rows|rejectattr('name', 'equalto', 'x')|map(attribute='name')|list }} {{ l|select('gt', 1)|list }} {{ l|reject('odd')|list }} {{ mixed|select|list }} {{ rows|selectattr('t.k', 'none')|list }}",
    "{{ ls|map('upper')|list }} {{ rows|map(attribute='t.k', default='-')|list }} {{ ls|map('replace', 'a', 'X')|join }} {{ nest|map('first')|list }} {{ none|map('upper')|list }}",
    "{{ num|int }} {{ flt|int }} {{ flt|float }} {{ 'x'|int }} {{ 'x'|int(-1) }} {{ 'ff'|int(0, 16) }} {{ '0x1f'|int(0, 0) }} {{ 2.9|int }} {{ -2.9|int }} {{ none|int }} {{ true|int }} {{ '1_0'|int }} {{ 'x'|float }} {{ '1e3'|float }} {{ 'inf'|float }} {{ ' 5 '|int }} {{ []|int }}",
    "{{ 2.5|round }} {{ 3.5|round }} {{ 2.675|round(2) }} {{ 42.55|round(1, 'floor') }} {{ 42.55|round(1, 'ceil') }} {{ 7|round }} {{ 7|round(1) }} {{ 1234|round(-2) }} {{ 15|round(-1) }} {{ 25|round(-1) }} {{ 1250.0|round(-2) }} {{ 2.5|round|int }} {{ -1.5|round }}",
    "{{ l|sum }} {{ rows|sum(attribute='v') }} {{ [1, 2.5]|sum }} {{ l|sum(start=10) }} {{ -3|abs }} {{ -3.5|abs }} {{ 3|string ~ 'x' }} {{ [1]|string }} {{ none|string }}",
    "{{ ls|sum }}", "{{ s|abs }}", "{{ s|round }}", "{{ d|sort }} {{ s|list }} {{ d|list }} {{ (1, 2)|list }} {{ range(3)|list }}", "{{ 5|list }}",
    "{{ text|indent }}|{{ text|indent(2, true) }}|{{ text|indent(2, blank=true) }}|{{ text|indent('> ') }}|{{ ''|indent(2, true) }}|{{ 'a\\n'|indent }}|",
    "{{ s|replace('l', 'L') }} {{ s|replace('l', 'L', 2) }} {{ 123|replace('2', 'x') }} {{ s|truncate(5) }} {{ 'a long line of words here'|truncate(12) }} {{ 'a long line of words here'|truncate(12, true) }} {{ 'a long line'|truncate(8, false, '', 0) }} {{ s|wordcount }} {{ s|center(20) }}|",
    "{{ l|batch(2)|list }} {{ l|batch(2, 0)|list }} {{ [1, 2, 3, 4, 5]|slice(2)|list }} {{ [1, 2, 3]|slice(2, 'x')|list }} {{ rows|groupby('name') }} {% for g in rows|groupby('name') %}{{ g.grouper }}={{ g.list|length }};{% endfor %}{% for k, v in rows|groupby('v') %}{{ k }}{% endfor %}",
    "{{ html|e }} {{ html|escape|upper }} {{ html|safe }} {{ ('<'|safe) + '<' }} {{ '<' + ('<'|safe) }} {{ [html|safe] }} {{ (html|e)|e }} {{ html|e|forceescape }} {{ ('a'|safe).replace('a', '<') }} {{ ('<'|safe) ~ '<' }} {{ 1|e }}",
    "{{ 'a b&c/d é'|urlencode }} {{ {'a': 1, 'b c': 'd&e'}|urlencode }} {{ 1000|filesizeformat }} {{ 1536|filesizeformat(true) }} {{ 1|filesizeformat }} {{ '%s-%s'|format(1, 2) }} {{ '%(a)s'|format(a=1) }} {{ d|attr('items') is callable }} {{ d|attr('a') }}|",
    # tests
    "{{ n is number }} {{ yes is number }} {{ f is float }} {{ n is integer }} {{ yes is integer }} {{ yes is boolean }} {{ s is string }} {{ l is sequence }} {{ s is sequence }} {{ d is sequence }} {{ d is mapping }} {{ n is iterable }} {{ s is iterable }} {{ missing is iterable }} {{ missing is sequence }} {{ range(2) is sequence }} {{ d.items() is iterable }} {{ d.items() is sequence }}",
    "{{ n is odd }} {{ n is even }} {{ n is divisibleby 7 }} {{ n is divisibleby(2) }} {{ nil is none }} {{ missing is none }} {{ missing is undefined }} {{ nil is defined }} {{ yes is true }} {{ 1 is true }} {{ no is false }} {{ 0 is false }} {{ nil is sameas none }} {{ yes is sameas true }} {{ 1 is sameas true }}",
    "{{ n is eq 7 }} {{ n is equalto(7) }} {{ n is ne 7 }} {{ n is gt 3 }} {{ n is lt 3 }} {{ n is ge 7 }} {{ n is in [7] }} {{ n is not in l }} {{ s is lower }} {{ 'abc' is lower }} {{ 'ABC' is upper }} {{ s.upper is callable }} {{ 'upper' is filter }} {{ 'odd' is test }} {{ 'x' is filter }} {{ n is not string and s is string }}",
    "{{ s is divisibleby 2 }}", "{{ missing is odd }}", "{{ n is defined is string }}", "{{ n is eq }}",
    # loops
    "{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('x', 'y') }}{{ loop.changed(i) }};{% endfor %}",
    "{% for i in l if i > 1 %}{{ loop.index }}/{{ loop.length }}:{{ i }} {% endfor %}{% for i in [] %}x{% else %}empty{% endfor %}{% for i in l if i > 9 %}x{% else %}none{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }},{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for a, b in [(1, 2), [3, 4]] %}{{ a + b }} {% endfor %}{% for (a, (b, c)) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for c in 'aé🙂' %}{{ c }},{% endfor %}{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}{% for i in missing %}x{% endfor %}",
    "{% for i in 5 %}{% endfor %}", "{% for i in none %}{% endfor %}", "{% for a, b in l %}{% endfor %}", "{% break %}", "{% for i in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{% for i in l %}{% for j in l %}{{ loop.index }}{% if j == 1 %}{% break %}{% endif %}{% endfor %}{{ loop.index }};{% endfor %}{{ loop }}|{{ i }}|",
    "{% for i in [1] %}{% continue %}{% else %}E{% endfor %}{% for i in [1] %}{% break %}{% else %}E{% endfor %}{% for i in [1, 2] %}{% if loop.last %}{% break %}{% endif %}{% else %}E{% endfor %}",
    "{% for item in [{'n': 1, 'c': [{'n': 2, 'c': []}]}] recursive %}{{ item.n }}@{{ loop.depth }}[{{ loop(item.c) }}]{% endfor %}",
    "{% for x in l|map('string') %}{{ x }}{{ loop.length }}{{ loop.last }} {% endfor %}{% set g = l|map('string') %}{{ g|list }}{{ g|list }}{{ g is iterable }}{{ g is sequence }}{% if g %}true{% endif %}",
    # scopes
    "{% set x = 1 %}{% for i in l %}{{ x }}{% set x = i %}{{ x }} {% endfor %}{{ x }}{% if yes %}{% set x = 9 %}{% endif %}{{ x }}",
    "{% set ns = namespace(a=0, found=false) %}{% for i in l %}{% set ns.a = ns.a + i %}{% if i == 1 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.a }} {{ ns.found }} {{ ns.nope }}|{{ ns['a'] }}",
    "{% set d.x = 1 %}", "{% set nope.x = 1 %}", "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}{% set ns._x = 1 %}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set a, b = b, a %}{{ a }}{{ b }}{% set t = 1, 2 %}{{ t }}", "{% set a, b = l %}", "{% set 1 = 2 %}", "{% set true = 2 %}",
    "{% set x %}a{{ n }}b{% endset %}{{ x }}{{ x|length }}{% set y | upper | trim %} q {% endset %}{{ y }}{% with a = 1, b = 2 %}{{ a }}{{ b }}{% set a = 5 %}{{ a }}{% endwith %}{{ a }}|{% with %}{% endwith %}",
    "{% set n = n + 1 %}{{ n }}{% with n = 1, m = n %}{{ n }}{{ m }}{% endwith %}{% filter upper %}a{{ s }}{% endfilter %}{% filter replace('a', 'b') | upper %}banana{% endfilter %}{% print s, 1 %}",
    # macros
    "{% macro f(a, b=2, c='x') %}[{{ a }}|{{ b }}|{{ c }}]{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(a=1, c=2) }}{{ f() }}{{ f(*[1, 2]) }}{{ f(**{'a': 5}) }}{{ f.name }}{{ f.arguments }}{{ f }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=2) }}", "{% macro f(a) %}{% endmacro %}{{ f(1, a=2) }}", "{% macro f(a=1, b) %}{% endmacro %}",
    "{% macro f(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, 3, x=4) }}{% macro g(x) %}<{{ caller() }}{{ x }}>{% endmacro %}{% call g(1) %}body{% endcall %}{% macro h() %}{{ caller(1, b=2) }}{% endmacro %}{% call(a, b) h() %}{{ a }}-{{ b }}{% endcall %}{{ g(1) if no }}",
    "{% macro fact(k) %}{% if k <= 1 %}1{% else %}{{ k * (fact(k - 1)|int) }}{% endif %}{% endmacro %}{{ fact(10) }}{% macro f(a, b=a) %}{{ b }}{% endmacro %}{{ f(3) }}{% set v = 1 %}{% macro rd() %}{{ v }}{% endmacro %}{% set v = 2 %}{{ rd() }}",
    "{% macro f() %}{{ caller() }}{% endmacro %}{{ f() }}", "{% macro f(x) %}{% set q = x %}{{ q }}{% endmacro %}{{ f(1) }}{{ q }}|{% call 5 %}{% endcall %}",
    # functions
    "{{ range(3)|list }} {{ range(2, 5)|list }} {{ range(5, 0, -2)|list }} {{ dict(a=1, b=2) }} {{ dict([('x', 1)], y=2) }} {{ dict({'a': 1}) }} {{ dict.fromkeys(['a', 'b'], 0) }} {% set c = cycler('o', 'e') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.next() }} {% set j = joiner('|') %}{% for i in l %}{{ j() }}{{ i }}{% endfor %}",
    "{{ range(200000) }}", "{{ raise_exception('stop ' ~ n) }}", "{{ raise_exception() }}", "{{ strftime_now('%Y-%m-%d %B %j %% %H') }}", "{{ nope(1) }}", "{{ s() }}",
    # whitespace
    "a\n{% if yes %}\n  b\n{% endif %}\nc\n", "a\n  {% if yes %}  \n  b\n  {% endif %}\nc\n\n", "a {%- if yes -%} b {%- endif -%} c", "  {% if yes %}x{% endif %}  {% if yes %}y{% endif %}\n", "a\n  {%+ if yes +%}\n  b\n{%+ endif %}\n", "{{- s -}} \n x", "x \n {{- s -}} \n y", "a\n  {# c #}\nb {#- d -#} c\n {#+ e +#}\n f", "\n\n{% if yes %}\n\nx\n\n{% endif %}\n\n", "a\r\n{% if yes %}\r\nb\r{% endif %}\r\n", "  {{ n }}\n  {%- set q = 1 %}\n  {{ q -}}\n  end\n\n",
    "{% raw %}{{ x }}{% if %}{% endraw %}|{%- raw -%}  a {{ }}  {%- endraw -%}  b|\n  {% raw %}\n c {% endraw %}\n|", "{% raw %}abc", "{# open", "{{ n", "{% if yes", "{% if yes %}", "{% endif %}", "{% else %}", "{% for %}", "{{ }}", "{{ 1 2 }}", "{{ ) }}", "{{ (1 }}", "{{ [1 }}", "{{ 'a }}", "{% nope %}", "{% if yes %}{% endfor %}", "{{ a.'b' }}", "{{ a..b }}", "{{ s|}}", "{{ s is }}", "{{ 1 ! 2 }}", "{{ {'a'} }}", "{{ $ }}", "{% include 'x' %}", "{% extends 'x' %}", "{% import 'x' as y %}", "{{ 'a' if }}",
    "{{ {'a': {'b': 1}} }}{{ {'a':1}['a'] }}{{ {}}}x}}", "{% set x = {'a': [1, (2, 3)], 'b': {}} %}{{ x.a[1][0] }}{{ x['b'] }}", "{%- set x = '}}' %}{{ x }}{{ '%}' }}{{ '{{' }}", "{%if yes%}{{n}}{%endif%}", "{% if (1, 2) %}a{% endif %}{% if 1, 2 %}b{% endif %}{{ 1, 2 }}",
    "{% if yes: %}a{% endif %}{% for i in l: %}{{ i }}{% endfor %}", "{{ loop is defined }}{{ self is defined }}" if False else "{{ caller is defined }}{{ varargs is defined }}", "{{ (s)|upper }}{{ s|upper|lower|title }}{{ -1|abs }}{{ not s|length == 12 }}{{ 2 + '3'|int }}{{ (1, 2)|sum }}", "{{ -n }}{{ +n }}{{ --n }}{{ not not n }}{{ - 1 - -1 }}",
    "{% generation %}a{{ n }}{% set q = 5 %}{% endgeneration %}{{ q }}|{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{{ loop.index }}{% endgeneration %}{% endif %}{% endfor %}",
    "{{ messages|map(attribute='content')|join('|') }}{{ messages|selectattr('role', 'equalto', 'user')|list|length }}{{ messages[-1].content|trim }}{{ (messages|last).role }}{{ messages[0]|tojson }}{{ messages[0] }}",
    "{% set messages = messages[1:] %}{{ messages|length }}{% for message in messages %}{% if loop.index0 % 2 == 0 %}{{ message.role }}{% endif %}{% if not loop.last %}{{ messages[loop.index0 + 1].role }}{% endif %}{% endfor %}",
]
