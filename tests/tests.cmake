# Test programs and ctest entries. Each entry prints a tally; tools/test sums them.
#   ocellus_tests   all doctest files, selected by the area that test names begin with
#   ocellus_suite   the checks of autograd/grad_check.h over the registry of ops
# Test files are always compiled alone: helpers may share names, and an edit costs one file.
set(CMAKE_UNITY_BUILD OFF)
file(GLOB_RECURSE test_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/*_test.cpp)
add_executable(ocellus_tests tests/main.cpp ${test_sources})
target_precompile_headers(ocellus_tests REUSE_FROM ocellus_precompiled_json)
target_link_libraries(ocellus_tests PRIVATE ${OCELLUS_OBJECTS} doctest::doctest nlohmann_json::nlohmann_json)
target_compile_definitions(ocellus_tests PRIVATE OCELLUS_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
set_target_properties(ocellus_tests PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
foreach(layer engine autograd nn vlm data cuda style)
  if(layer STREQUAL cuda OR EXISTS ${CMAKE_SOURCE_DIR}/tests/${layer})
    file(GLOB layer_tests ${CMAKE_SOURCE_DIR}/tests/${layer}/*_test.cpp)
    if(layer_tests)
      add_test(NAME unit/${layer} COMMAND ocellus_tests --source-file=*tests/${layer}/*
               WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
      set_tests_properties(unit/${layer} PROPERTIES LABELS unit)
    endif()
  endif()
endforeach()

# The registry suite: one entry a check.
add_executable(ocellus_suite tests/autograd/registry_suite.cpp)
target_link_libraries(ocellus_suite PRIVATE ${OCELLUS_OBJECTS})
set_target_properties(ocellus_suite PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
foreach(check coverage gradient fan-out reference precision lanes layout bounds repeat saved)
  add_test(NAME ${check}/registry COMMAND ocellus_suite ${check})
  set_tests_properties(${check}/registry PROPERTIES LABELS ${check})
endforeach()

# Goldens of transformers: those that are shipped, and the shared ones where they are present.
add_test(NAME golden/shipped COMMAND ${CMAKE_SOURCE_DIR}/tests/golden/run $<TARGET_FILE:ocellus>
         ${CMAKE_SOURCE_DIR}/tests/golden)
add_test(NAME golden/shared COMMAND ${CMAKE_SOURCE_DIR}/tests/golden/run $<TARGET_FILE:ocellus>
         $ENV{OCELLUS_SHARED})
set_tests_properties(golden/shipped golden/shared PROPERTIES LABELS golden)

# Commands on shipped goldens, as a user runs them.
add_test(NAME unit/exchange COMMAND ${CMAKE_SOURCE_DIR}/tests/tools/exchange $<TARGET_FILE:ocellus>)
set_tests_properties(unit/exchange PROPERTIES LABELS unit)

# The program from outside: exit statuses, sentences, signals, full disks.
add_test(NAME program/outside COMMAND ${CMAKE_SOURCE_DIR}/tests/program/run --program $<TARGET_FILE:ocellus>
         WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(program/outside PROPERTIES LABELS program)

# Killed at random moments and resumed: bit-equal. A few kills here; tools/killtest --kills 20 by hand.
if(EXISTS ${CMAKE_SOURCE_DIR}/tools/killtest)
  add_test(NAME resume/killtest COMMAND ${CMAKE_SOURCE_DIR}/tools/killtest --kills 3 --program $<TARGET_FILE:ocellus>
           WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(resume/killtest PROPERTIES LABELS resume)
endif()
